"""An OpenAI-compatible server of searches: ``colasearch serve``.

``chat.py`` reads requests and turns chats into problems, ``names.py`` reads model names; ``engine.py`` searches for all
requests in one thread, over the batches of ``lanes.py``; ``replies.py`` words what comes of it; ``app.py`` has the
routes and limits, ``running.py`` the process: its socket, its signals, its end. docs/serve.md is for users.
"""

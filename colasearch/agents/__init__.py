"""A model that acts in an environment: episodes as texts, actions as what it writes, searches over whole actions.

``layout.py`` lays an episode out as tokens, ``writer.py`` has the model write and judge actions, ``episode.py`` plays,
``players.py`` chooses action by action, ``transitions.py`` comes back to states of an environment, ``world.py`` is what
searchers see of it, ``planning.py`` runs them. Which episodes are run, and what comes of it, is in
``benchmarks/episodes``.
"""

"""Problems with worked solutions that this project makes itself, to train on.

``countdown.py`` makes Countdown's, ``word_templates`` word problems from templates, ``story_grammar`` word problems
composed from parts.
"""

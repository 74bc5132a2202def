"""The engine: from problems to voted answers. Data flows down this list, and each room imports only what is below it.

* ``scheduler.py``: problems. Owns which problems are searched now, one search algorithm each; knows no tokens.
  ``record.py`` writes what a search found down as a trace, ``settings.py`` has all settings as plain numbers.
* ``prompt.py``: from a problem to its prompt.
* ``trees/``: the world that searchers see. Owns the nodes of all trees and what each is worth; knows neither the
  algorithm that asks nor how a batch is made up.
* ``texts/``: what a text says. Owns where texts end, which are refuted, and the vote; knows no trees and no model.
* ``decoding/``: rows, the texts in progress. Owns who is in the batch and when a step ends; knows no problems and no
  answers.
* ``forward/``: tokens. Owns the model's copy for inference and the choice of the next token; knows no trees, problems
  or order of work.
* ``memory/``: keys and values. Owns those of nodes and rows, and how rows attend to them; knows no tokens and no texts.
  ``memory/interfaces.py`` has the two interfaces that another way of keeping or of attending has to serve.
"""

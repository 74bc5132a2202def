"""How a benchmark is run, scored and summed up: arms, runner, scores, intervals, summary, comparison of runs.

What decides an accuracy or an interval belongs here. No data set is named here, and nothing here is a command.
"""

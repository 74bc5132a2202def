"""How a benchmark is run, scored and summed up: arms, runner, scores, intervals, comparison."""

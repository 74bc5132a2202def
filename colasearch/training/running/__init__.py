"""How a run of training goes: the loop with its checkpoints and exact resume, and several processes as one."""

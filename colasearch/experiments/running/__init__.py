"""How stages of a long run are done, one process after another, and resumed."""

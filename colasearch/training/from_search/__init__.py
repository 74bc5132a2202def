"""What the traces of searches teach: targets for policy and heads, and worked solutions to fine-tune on."""

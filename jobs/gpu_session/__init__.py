"""What ``gpu_adapt.py`` runs on a GPU: a Qwen2 of plain tensors, its writer, training, and the stages."""

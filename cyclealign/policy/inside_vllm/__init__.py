"""Code that runs in vLLM's interpreter, found by PYTHONPATH. Standard library only."""

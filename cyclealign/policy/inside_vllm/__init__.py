"""Code that runs in the interpreter of vLLM, which finds this folder by PYTHONPATH: standard library only."""

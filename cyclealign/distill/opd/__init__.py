"""On-policy distillation (arXiv 2306.13649): a student answers prompts, and a teacher rates each of its tokens."""

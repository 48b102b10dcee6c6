"""Fine-tune the policy on ranked lists: losses, trainers, jobs and their processes."""

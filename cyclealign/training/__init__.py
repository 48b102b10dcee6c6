"""Fine-tune the policy on ranked lists."""

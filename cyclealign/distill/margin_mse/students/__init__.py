"""Students of the Margin-MSE job, by kind."""

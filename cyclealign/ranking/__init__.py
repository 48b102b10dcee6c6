"""Agreement between two rankings, and consensus among several."""

"""Rankings: agreement of two, consensus of several."""

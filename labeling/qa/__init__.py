"""Labels that are measured: agreement, annotators, errors, cost."""

"""`streamlearn evaluate`: one pass over a labelled stream, without a broker, side by side per strategy and seed."""

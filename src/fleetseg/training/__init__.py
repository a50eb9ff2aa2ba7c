"""Training recipes and the loop that runs them. Everything but `recipe` needs torch."""

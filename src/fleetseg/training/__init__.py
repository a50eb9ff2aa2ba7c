"""Training recipes and the loop that runs them. `recipe`, `recipe_file` and `run_folder` need no torch."""

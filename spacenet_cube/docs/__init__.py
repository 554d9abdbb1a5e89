"""The pages, and the code that builds them; in the source distribution, not in the wheel."""

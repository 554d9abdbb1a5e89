"""The ground of the sample corpus, as a function of where one looks."""

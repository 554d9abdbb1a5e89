"""Analysis: what the accessor ``cube.spacenet`` does, a module for each kind of question.

Everything here takes a dataset and returns what is lazy where the dataset is.
"""

"""Facts that ship with carlab: ImageNet class names and definitions (WordNet 3.0), their sentence vectors.

Which of the classes people wear is written down by hand.
"""

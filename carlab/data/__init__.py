"""Facts that ship with carlab: ImageNet class names and definitions (WordNet 3.0), their sentence vectors,
and which of them people wear.
"""

"""Facts that ship with carlab: class names and definitions (WordNet 3.0), and their sentence vectors."""

"""Facts that ship with carlab: class names, and their sentence vectors."""

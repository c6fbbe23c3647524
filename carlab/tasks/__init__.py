"""What people ask for: an image or many segmented by queries, and what expressions refer to."""

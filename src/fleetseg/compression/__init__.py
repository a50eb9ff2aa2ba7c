"""Networks with fewer channels: dead ones removed exactly, unimportant ones pruned."""

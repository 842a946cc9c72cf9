"""What workflows of several kinds are built with: `owner.py` for who owns an object, `rounds.py` for what repeats."""

"""Would the commands run here, and if not, what mends it? `examine.examine` is the way in; nothing heavy is loaded."""

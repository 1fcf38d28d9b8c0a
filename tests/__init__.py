"""Facts about cloudchat, shown through its public seams."""

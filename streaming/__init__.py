"""Engine: runs turns, and lets any number of viewers follow them. No views, no HTTP numbers."""

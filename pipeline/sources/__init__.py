"""What several data sets read and cut alike: video, sound, windows."""

"""Reading and cutting that several data sets share: video, sound, windows, the survey."""

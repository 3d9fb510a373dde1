"""Raw data sets, one preprocessor each."""

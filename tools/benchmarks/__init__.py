"""What `seqviews bench` measures, each against its peers in the same run."""

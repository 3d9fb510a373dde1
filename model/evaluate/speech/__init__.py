"""The evaluation of speech: who speaks should be in s and only there, and the words in z."""

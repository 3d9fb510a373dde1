"""The evaluation of clips: what they should show when their latents are swapped or drawn, by a judge [P 4.2]."""

"""The user study of the paper's Table 3: a page on which people compare two arms, and the tally of their answers."""

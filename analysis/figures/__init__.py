"""One file per picture; each is a function from a Frame to a Picture (matplotlib figure, alt text, the
data it shows).
"""

"""The pages users see: parse the request, make one ``flows`` call, render."""

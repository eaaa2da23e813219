"""Pages, a script each: it reads choices, asks for rows and draws; the number orders them."""

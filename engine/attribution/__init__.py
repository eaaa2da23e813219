"""Attribution: which prompt tokens carried an answer, how sure that is, and KeyTokens."""

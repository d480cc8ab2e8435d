"""By-products of chats, such as titles: how they are recognised, asked for, and answered when no model is at hand."""

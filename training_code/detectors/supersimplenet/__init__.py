"""SuperSimpleNet: noise on features and labelled defects, segmented and classified."""

SELECT image_name, image_tag, members
FROM nodes

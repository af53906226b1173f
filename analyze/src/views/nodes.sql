-- One row a node of a profile revision; what is folded stands behind its pattern (`pattern`, `collapsed_nodes`), and is in
-- `raw.profile_nodes`. `target` says what the node is in one text.
SELECT
    image_name || CASE WHEN starts_with(image_tag, '@') THEN '' ELSE ':' END || image_tag AS image,
    kind,
    exe,
    CASE kind
        WHEN 'process' THEN coalesce(argv0 || ' (' || exe || ')', exe || ' ' || CASE WHEN shebang THEN script END, exe)
        WHEN 'file' THEN path
        WHEN 'dns' THEN dns_name || ' ' || dns_type
        WHEN 'connect' THEN protocol || ' ' || address || CASE WHEN protocol = 'unix' THEN '' ELSE ' ' || cast(port AS varchar) END
        WHEN 'listen' THEN protocol || ' ' || address || CASE WHEN protocol = 'unix' THEN '' ELSE ' ' || cast(port AS varchar) END
        ELSE name
    END AS target,
    commonality,
    commonality_low,
    commonality_high,
    container_count,
    eligible_containers,
    snapshot_count,
    snapshot_commonality,
    host_count,
    lossy_count,
    stable,
    rare,
    late,
    phase,
    lineage_complete,
    events,
    first_seen,
    last_seen,
    path, access, mode, path_raw, path_source, file_origin,
    dns_name, dns_type,
    protocol, address, port, remote_ips, name_source,
    name,
    root_kind, exec_from, script, shebang, argv0, args, args_overflow, comm, cwd, uids, gids, cred_change, tty, stdio, ns_changed, written_in_window,
    encode(node_id, 'hex') AS node_id,
    encode(parent_id, 'hex') AS parent_id,
    members,
    first_snapshot_id,
    pattern,
    collapsed_nodes,
    overflow,
    image_name,
    image_tag,
    revision,
    status,
    workload_key,
    bucket
FROM raw.profile_nodes
WHERE collapsed_into IS NULL

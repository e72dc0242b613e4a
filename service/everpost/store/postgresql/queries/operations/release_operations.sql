UPDATE operations SET owner = NULL WHERE owner = :owner AND status = 'running'

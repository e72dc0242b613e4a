SELECT platform, status, count(*) AS tasks FROM publish_tasks GROUP BY platform, status ORDER BY platform, status

DELETE FROM timeline WHERE began_s IN (SELECT began_s FROM timeline WHERE began_s < :before_s LIMIT :limit)
